/** The runtime as a process that has the providers within: no frame crosses a process twice (architecture.md, decision 10). */
import { enableCompileCache } from "node:module";

enableCompileCache();
const [{ runService }, { createRuntimeDefinition }, { openOwnProviders }] = await Promise.all([
  import("@rspp/host/process"),
  import("@rspp/runtime/definition"),
  import("./own-providers.ts"),
]);
await runService(createRuntimeDefinition({ providers: openOwnProviders }));
