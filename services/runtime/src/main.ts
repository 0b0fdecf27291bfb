/** The runtime as a process: `node services/runtime/src/main.ts --help`. */
import { runService } from "@rspp/host/process";
import { createRuntimeDefinition } from "./definition.ts";

await runService(createRuntimeDefinition());
