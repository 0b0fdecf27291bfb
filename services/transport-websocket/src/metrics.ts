import type { RemoteOpenerStats } from "@rspp/remote/link-session-types";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";
import type { WebSocketTransportStats } from "./server.ts";

/** What the adapter counts, read when somebody asks for its metrics. Gives a function that ends it. */
export function measureTransport(
  metrics: MetricRegistry,
  read: () => { readonly transport: WebSocketTransportStats; readonly opener: RemoteOpenerStats } | null,
): () => void {
  const gauge = (name: string, help: string) => metrics.gauge({ name, help, unit: "1" }).with();
  const counter = (name: string, help: string, unit = "1") => metrics.counter({ name, help, unit }).with();
  const connections = gauge("rspp_websocket_connections", "Connections of callers");
  const sessions = gauge("rspp_websocket_sessions", "Sessions open here, their callers there or away");
  const waiting = gauge("rspp_websocket_sessions_waiting", "Sessions whose caller is away");
  const linksUp = gauge("rspp_websocket_links_up", "Links to runtimes that are up");
  const stale = gauge("rspp_websocket_view_stale", "1 while an old routing view is acted on");
  const counters = [
    [counter("rspp_websocket_frames_in_total", "Frames of callers"), (s) => s.framesIn],
    [counter("rspp_websocket_frames_out_total", "Frames to callers"), (s) => s.framesOut],
    [counter("rspp_websocket_bad_frames_total", "Frames that were not legal"), (s) => s.badFrames],
    [counter("rspp_websocket_in_bytes_total", "Bytes of frames of callers", "By"), (s) => s.bytesIn],
    [counter("rspp_websocket_out_bytes_total", "Bytes on the wire to callers", "By"), (s) => s.wireBytesOut],
    [counter("rspp_websocket_resumed_total", "Sessions whose caller came back"), (s) => s.resumed],
    [counter("rspp_websocket_given_up_total", "Sessions whose caller did not come back"), (s) => s.givenUp],
  ] as const satisfies readonly (readonly [{ value: number }, (stats: WebSocketTransportStats) => number])[];
  const failedOver = counter("rspp_websocket_failed_over_total", "Sessions that went on when their runtime was lost");
  const migrated = counter("rspp_websocket_migrated_total", "Sessions that went on elsewhere as their runtime asked");
  const refused = metrics.counter({
    name: "rspp_websocket_refused_total",
    help: "Connections and frames refused",
    unit: "1",
    labels: ["reason"],
  });
  return metrics.beforeCollect(() => {
    const stats = read();
    if (stats === null) return;
    const { transport, opener } = stats;
    connections.set(transport.connections);
    sessions.set(transport.sessions);
    waiting.set(transport.waiting);
    linksUp.set(opener.links.filter(({ up }) => up).length);
    stale.set(opener.view.stale ? 1 : 0);
    failedOver.value = opener.failedOver;
    migrated.value = opener.migrated;
    for (const [metric, of] of counters) metric.value = of(transport);
    for (const [reason, count] of Object.entries(transport.refused)) refused.with(reason).value = count;
  });
}
