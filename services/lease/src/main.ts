/** The lease service as a process: `node services/lease/src/main.ts --help`. */
import { enableCompileCache } from "node:module";

// Before anything else is loaded: it halves the start.
enableCompileCache();
const [{ runService }, { leaseDefinition }] = await Promise.all([
  import("@rspp/host/process"),
  import("./definition.ts"),
]);
await runService(leaseDefinition);
