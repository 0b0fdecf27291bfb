/** The lease service as a process: `node services/lease/src/main.ts --help`. */
import { runService } from "@rspp/host/process";
import { leaseDefinition } from "./definition.ts";

await runService(leaseDefinition);
