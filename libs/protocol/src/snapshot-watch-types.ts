/**
 * Watching snapshots of the control plane (kernel.md §7; F-102, F-159): shared words of both ends. Versions rise per kind;
 * a nonce names one sending, so that an answer says which (what, apart from which send).
 */
import type { MonoNs } from "@rspp/base/brand";
import { limits } from "./limits.ts";

export const SNAPSHOT_KINDS = ["routing", "policy", "rollout", "admission", "provider_health"] as const;
export type SnapshotKind = (typeof SNAPSHOT_KINDS)[number];

export function isSnapshotKind(text: string): text is SnapshotKind {
  return (SNAPSHOT_KINDS as readonly string[]).includes(text);
}

/** `<kind>@<n>`. */
export function snapshotVersion(kind: SnapshotKind, version: number): string {
  return `${kind}@${version}`;
}

/** Null for what is no version of a kind that is known. */
export function parseSnapshotVersion(text: string): { kind: SnapshotKind; version: number } | null {
  const [, kind = "", digits = ""] = /^([a-z_]+)@([1-9][0-9]{0,15})$/.exec(text) ?? [];
  const version = Number(digits);
  return isSnapshotKind(kind) && Number.isSafeInteger(version) ? { kind, version } : null;
}

/**
 * Milliseconds since the last word of the control plane. Up to `freshMs` a snapshot is fresh; past `holdMs` nothing new is
 * begun under it, while what lives goes on with it, marked stale (kernel.md §7).
 */
export interface StalenessBound {
  freshMs: number;
  holdMs: number;
}

export const SNAPSHOT_BOUNDS: Readonly<Record<SnapshotKind, StalenessBound>> = {
  routing: { freshMs: limits.SNAPSHOT_FRESH_MS, holdMs: limits.SNAPSHOT_ROUTING_HOLD_MS },
  policy: { freshMs: limits.SNAPSHOT_FRESH_MS, holdMs: limits.SNAPSHOT_POLICY_HOLD_MS },
  rollout: { freshMs: limits.SNAPSHOT_FRESH_MS, holdMs: limits.SNAPSHOT_ROLLOUT_HOLD_MS },
  admission: { freshMs: limits.SNAPSHOT_FRESH_MS, holdMs: limits.SNAPSHOT_ADMISSION_HOLD_MS },
  // Past its bound a signal is missing, and what reads it has its default (F-066): it never stops a session.
  provider_health: { freshMs: limits.SNAPSHOT_FRESH_MS, holdMs: limits.SNAPSHOT_HEALTH_HOLD_MS },
};

/** One sending; answered under its nonce. */
export interface SnapshotOffer {
  kind: SnapshotKind;
  version: number;
  nonce: string;
}

/** ACK and NACK are arms of their own: a refusal says why and changes nothing at the watcher. */
export type SnapshotAnswer =
  | { type: "accepted"; nonce: string; kind: SnapshotKind; version: number }
  | { type: "refused"; nonce: string; kind: SnapshotKind; version: number; reason: string };

/** What a watcher begins a connection with: nothing it has is sent again, nothing it refused is offered again. */
export interface SnapshotSubscription {
  kinds: readonly { kind: SnapshotKind; accepted: number; refused: number }[];
}

export interface WatchedKind {
  /** In force; 0 none. */
  accepted: number;
  /** Newest that was refused; 0 none. */
  refused: number;
  /** Version that is being loaded; 0 none. */
  loading: number;
  /** Last instant at which the control plane was known to stand behind what is in force; -1 never. */
  heardNs: MonoNs | -1;
  /** Milliseconds that had passed before this process knew: age of a snapshot that was kept on disk. */
  ageBeforeMs: number;
}

export interface WatchClientState {
  kinds: Partial<Record<SnapshotKind, WatchedKind>>;
  counters: { accepted: number; refused: number; repeated: number; older: number; connections: number };
}

export type Freshness = "missing" | "fresh" | "stale" | "too_stale";

export interface SnapshotFreshness {
  state: Freshness;
  /** 0 none. */
  version: number;
  /** Since the control plane last stood behind it; 0 while missing. */
  ageMs: number;
}

export interface ServedKind {
  /** In force at the watcher, as it said. */
  accepted: number;
  /** As it said. */
  refused: number;
  /** Newest there is; 0 none. */
  newest: number;
  /** Sent and not answered: one at most, the newest follows it. */
  outstanding: { nonce: string; version: number } | null;
}

export interface WatchServerState {
  watcher: string;
  /** Part of every nonce, so that no answer of an earlier connection fits. */
  connection: string;
  sent: number;
  kinds: Partial<Record<SnapshotKind, ServedKind>>;
}
