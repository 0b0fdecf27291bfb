/** The runtime as a process that has the providers within: no frame crosses a process twice (architecture.md, decision 10). */
import { runService } from "@rspp/host/process";
import { createRuntimeDefinition } from "@rspp/runtime/definition";
import { openOwnProviders } from "./own-providers.ts";

await runService(createRuntimeDefinition({ providers: openOwnProviders }));
