/** Secrets of a service's own, for services that keep no store: read where they are used, so that a changed one is met. */
import { secretSource } from "@rspp/store/secret";
import type { Environment } from "./service.ts";

/**
 * The value behind a reference (`env:NAME`, `file:/path`, `mount:NAME`), read anew each time; null where none is configured.
 * @throws StoreError `invalid` for what is no reference; the reader rejects with `secret_missing` where nothing is there.
 */
export function secretReader(reference: string, env: Environment): (() => Promise<string>) | null {
  if (reference === "") return null;
  const source = secretSource(reference, env);
  return async () => (await source.read()).reveal();
}
