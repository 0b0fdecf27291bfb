import { loadValidator } from "@rspp/wire/validate";

/** What any service may want once it is ready, and none before: what names broken rules, and what reads tokens. */
export const rpcLoadLater: readonly (() => Promise<unknown>)[] = [() => import("jose"), loadValidator];
