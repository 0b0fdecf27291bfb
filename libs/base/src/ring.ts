import { invariant } from "./invariant.ts";

const firstSlots = 4;

/**
 * A bounded FIFO as plain data, safe through JSON when its items are. `items` holds the slots, which grow by doubling up
 * to `capacity`, so that a thousand idle edges cost nothing; empty slots are null. `head` is the slot of the oldest item.
 */
export interface Ring<T> {
  items: (T | null)[];
  head: number;
  size: number;
  capacity: number;
}

/** An empty ring for at most `capacity` items, at least one. */
export function ringCreate<T>(capacity: number): Ring<T> {
  invariant(Number.isSafeInteger(capacity) && capacity >= 1, "a ring's capacity is an integer of at least 1", capacity);
  return { items: [], head: 0, size: 0, capacity };
}

/** Appends the newest item. False, and nothing changed, when the ring is full. */
export function ringPush<T>(ring: Ring<T>, item: T): boolean {
  if (ring.size >= ring.capacity) return false;
  if (ring.size === ring.items.length) grow(ring);
  ring.items[slotOf(ring, ring.size)] = item;
  ring.size += 1;
  return true;
}

/** Takes the oldest item; undefined when empty. */
export function ringShift<T>(ring: Ring<T>): T | undefined {
  if (ring.size === 0) return undefined;
  const item = ring.items[ring.head] as T;
  ring.items[ring.head] = null;
  ring.head = ring.head + 1 === ring.items.length ? 0 : ring.head + 1;
  ring.size -= 1;
  return item;
}

/** The oldest item, left in place; undefined when empty. */
export function ringPeek<T>(ring: Ring<T>): T | undefined {
  return ringAt(ring, 0);
}

/** The item `index` places behind the oldest; undefined outside 0 … size - 1. */
export function ringAt<T>(ring: Ring<T>, index: number): T | undefined {
  if (index < 0 || index >= ring.size) return undefined;
  return ring.items[slotOf(ring, index)] as T;
}

/** Puts `item` in the place of the one at `index`, which must exist. */
export function ringSet<T>(ring: Ring<T>, index: number, item: T): void {
  invariant(index >= 0 && index < ring.size, "a ring's index is inside 0 … size - 1", index);
  ring.items[slotOf(ring, index)] = item;
}

/** Takes out the item at `index` and closes the gap, keeping the order; undefined outside 0 … size - 1. O(size). */
export function ringRemoveAt<T>(ring: Ring<T>, index: number): T | undefined {
  const item = ringAt(ring, index);
  if (index < 0 || index >= ring.size) return undefined;
  for (let i = index; i + 1 < ring.size; i++) {
    ring.items[slotOf(ring, i)] = ring.items[slotOf(ring, i + 1)] as T;
  }
  ring.items[slotOf(ring, ring.size - 1)] = null;
  ring.size -= 1;
  return item;
}

/** Visits oldest to newest. The visitor must not change the ring. */
export function ringForEach<T>(ring: Ring<T>, visit: (item: T, index: number) => void): void {
  for (let i = 0; i < ring.size; i++) visit(ring.items[slotOf(ring, i)] as T, i);
}

/** Empties the ring and frees its slots. */
export function ringClear<T>(ring: Ring<T>): void {
  ring.items = [];
  ring.head = 0;
  ring.size = 0;
}

function slotOf<T>(ring: Ring<T>, index: number): number {
  const slot = ring.head + index;
  return slot < ring.items.length ? slot : slot - ring.items.length;
}

function grow<T>(ring: Ring<T>): void {
  const slots = Math.min(ring.capacity, Math.max(firstSlots, ring.items.length * 2));
  const items: (T | null)[] = [];
  for (let i = 0; i < slots; i++) items.push(i < ring.size ? (ring.items[slotOf(ring, i)] as T) : null);
  ring.items = items;
  ring.head = 0;
}
