/**
 * The items of `source`, in order, with up to `most` read before they are asked for; each is shown to `seen` when it is
 * read. Fails where the source fails, behind what came before.
 */
export async function* readAhead<T>(
  source: AsyncIterable<T>,
  most: number,
  seen: (item: T) => void,
): AsyncGenerator<T, void> {
  const items: T[] = [];
  let ended = false;
  let failure: { readonly thrown: unknown } | null = null;
  let stopped = false;
  // Whoever waits: the reader for items, or the source for room.
  let wake: () => void = () => undefined;
  const rest = (): Promise<void> => new Promise((resolve) => (wake = resolve));
  const read = async (): Promise<void> => {
    try {
      for await (const item of source) {
        seen(item);
        items.push(item);
        wake();
        while (items.length >= most && !stopped) await room();
        if (stopped) return;
      }
    } catch (thrown) {
      failure = { thrown };
    } finally {
      ended = true;
      wake();
    }
  };
  let free: () => void = () => undefined;
  const room = (): Promise<void> => new Promise((resolve) => (free = resolve));
  void read();
  try {
    for (;;) {
      const item = items.shift();
      if (item !== undefined) {
        free();
        yield item;
      } else if (ended) break;
      else await rest();
    }
  } finally {
    stopped = true;
    free();
  }
  if (failure !== null) throw (failure as { readonly thrown: unknown }).thrown;
}
