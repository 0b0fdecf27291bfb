/** The replay service as a process: `node services/replay/src/main.ts --help`. */
import { enableCompileCache } from "node:module";

// Before anything else is loaded: it halves the start.
enableCompileCache();
const [{ runService }, { replayDefinition }] = await Promise.all([
  import("@rspp/host/process"),
  import("./definition.ts"),
]);
await runService(replayDefinition);
