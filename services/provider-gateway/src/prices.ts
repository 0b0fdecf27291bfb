/** What providers cost here (F-058, F-066): told to the registry with their health, and what caps on cost are counted by. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { rpcError } from "@rspp/rpc/errors";
import type { PriceOf } from "./caps.ts";

const ENTRY = /^([a-z][a-z0-9_-]*\/[a-z0-9][a-z0-9._-]*)=(\d{1,12})$/;

/** @throws RpcError `config_invalid` naming the entry that is none. */
export function readPrices(text: string): PriceOf {
  const prices = new Map<string, number>();
  for (const entry of text.split(",").flatMap((part) => part.trim() || [])) {
    const [, name = "", price] = ENTRY.exec(entry) ?? [];
    if (price === undefined) {
      const message = `"${entry.slice(0, 64)}" is no name=price, e.g. openai/chat=600`;
      throw rpcError(ErrorReason.CONFIG_INVALID, {
        domain: "provider-gateway",
        violations: [{ field: "provider_prices", rule: "form", message }],
      });
    }
    prices.set(name, Number(price));
  }
  return (provider) => prices.get(provider);
}
