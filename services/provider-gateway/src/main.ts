/** The provider gateway as a process: `node services/provider-gateway/src/main.ts --help`. */
import { runService } from "@rspp/host/process";
import { gatewayDefinition } from "./definition.ts";

await runService(gatewayDefinition());
