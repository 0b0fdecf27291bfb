/** The replay service as a process: `node services/replay/src/main.ts --help`. */
import { runService } from "@rspp/host/process";
import { replayDefinition } from "./definition.ts";

await runService(replayDefinition);
