/** The registry as a process: `node services/registry/src/main.ts --help`. */
import { runService } from "@rspp/host/process";
import { registryDefinition } from "./definition.ts";

await runService(registryDefinition);
