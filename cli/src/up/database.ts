/** The platform's one database: that of DATABASE_URL, else an embedded one that all services share. */
import { type Database, openDatabase } from "@rspp/store/database";
import { secretSource } from "@rspp/store/secret";
import type { UpOptions } from "./plan.ts";

/** @throws StoreError. */
export async function openPlatformDatabase(
  { data }: Pick<UpOptions, "data">,
  onAway: (away: boolean) => void,
): Promise<Database> {
  const { env } = process;
  const onServer = ({ kind }: { readonly kind: string }): void => onAway(kind !== "back");
  const reference = env.RSPP_DATABASE_URL ?? (env.DATABASE_URL ? "env:DATABASE_URL" : "");
  if (reference === "") return openDatabase({ dataDir: data }, { onServer });
  return openDatabase({ url: (await secretSource(reference, env).read()).reveal() }, { onServer });
}
