/** The WebSocket adapter as a process: `node services/transport-websocket/src/main.ts --help`. */
import { runService } from "@rspp/host/process";
import { createWebSocketDefinition } from "./definition.ts";

await runService(createWebSocketDefinition());
