import type { Clock } from "@rspp/ports/clock";
import type { ManagedProvider } from "./attempt.ts";
import { createFlite } from "./local/flite.ts";
import { createPhrasebook } from "./local/phrasebook.ts";
import { createPocketsphinx } from "./local/pocketsphinx.ts";
import { createResponder } from "./local/responder.ts";
import { createSimBatch } from "./sim/batch.ts";
import { createSimLlm } from "./sim/llm.ts";
import { createSimStt } from "./sim/stt.ts";
import { createSimTts } from "./sim/tts.ts";
import { noToolAccess, type ToolAccess } from "./tools/access.ts";
import { ExecutedCalls } from "./tools/executed.ts";
import { createHttpTool } from "./tools/http.ts";
import { createMcpTool } from "./tools/mcp.ts";
import type { Vendors } from "./vendors/vendors.ts";

/** Every provider that ships with RSPP, for `createProviderGateway`; each starts nothing before it is used. */
export function createProviders(options: {
  clock: Clock;
  /** What is configured of the vendors, see `openVendors`; default none is. */
  vendors?: Vendors;
  /** What tools may reach; default nothing. */
  tools?: ToolAccess;
}): ManagedProvider[] {
  const tools = { clock: options.clock, access: options.tools ?? noToolAccess, executed: new ExecutedCalls() };
  return [
    createFlite(options),
    createPocketsphinx(options),
    createResponder(options),
    createPhrasebook(options),
    createSimStt(options),
    createSimLlm(options),
    createSimBatch(options),
    createSimTts(options),
    createHttpTool(tools),
    createMcpTool(tools),
    ...(options.vendors?.providers(options.clock) ?? []),
  ];
}
