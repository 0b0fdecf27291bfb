/**
 * Waits for all that start together, also when one of them fails: nobody is left starting, on a database that is closed
 * beneath it, while the first failure is told.
 */
export async function startTogether(starts: readonly Promise<void>[]): Promise<void> {
  const ends = await Promise.allSettled(starts);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}
