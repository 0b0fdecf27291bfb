/** Every benchmark there is, in the order they are run; P5a pins the process and so comes last. */
import type { Bench } from "./bench.ts";
import { pGateway } from "./p-gateway.ts";
import { pNodes } from "./p-nodes.ts";
import { p1 } from "./p1-frame.ts";
import { p2 } from "./p2-echo.ts";
import { p3 } from "./p3-voice-loop.ts";
import { p4Processes } from "./p4-processes.ts";
import { p4 } from "./p4-voice-to-voice.ts";
import { p5LiveKit } from "./p5-livekit.ts";
import { p5a } from "./p5a-cancel.ts";
import { p5bc, p5Realtime } from "./p5bc-barge-in.ts";
import { p6Kernel } from "./p6-kernel.ts";
import { p6 } from "./p6-runtime.ts";
import { p7 } from "./p7-overlap.ts";
import { p8 } from "./p8-turn-open.ts";
import { p9 } from "./p9-recording.ts";
import { p10 } from "./p10-runtime-start.ts";
import { p11 } from "./p11-growth.ts";
import { rExport } from "./r-export.ts";
import { rLanes } from "./r-lanes.ts";
import { rRoutes } from "./r-routes.ts";
import { wire } from "./wire.ts";

export const BENCHES: readonly Bench[] = [
  p1,
  p2,
  p3,
  wire,
  p4,
  p4Processes,
  p5bc,
  p5LiveKit,
  p5Realtime,
  p6Kernel,
  p6,
  p7,
  p8,
  p9,
  p10,
  p11,
  pNodes,
  pGateway,
  rExport,
  rLanes,
  rRoutes,
  p5a,
];
