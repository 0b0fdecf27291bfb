/**
 * Probes and metrics on a port of their own, in plain HTTP (F-108): what a kubelet or a collector asks that has no
 * certificate to show where the other ports are mTLS. It answers nothing else and takes no body.
 */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Health } from "@rspp/rpc/health";
import { StoreError } from "@rspp/store/store-error";

export interface ProbeServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface Probed {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly health: Pick<Health, "ready" | "why">;
  /** Prometheus text; null where nothing is measured. */
  metrics(): Promise<string | null>;
}

const headersBytesMax = 8_192;
const requestMs = 5_000;
const connectionsMax = 64;

/** @throws StoreError `invalid` where the port cannot be had. */
export async function startProbeServer(probed: Probed): Promise<ProbeServer> {
  const server = createServer({ maxHeaderSize: headersBytesMax, requestTimeout: requestMs }, answering(probed));
  server.maxConnections = connectionsMax;
  await listen(server, probed);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answering({ health, metrics }: Probed): RequestListener {
  return (request, response) => {
    const answer = (status: number, body: string, type = "application/json"): void => {
      response.writeHead(status, { "content-type": type });
      response.end(body);
    };
    const path = request.method === "GET" ? (request.url ?? "").split("?", 1)[0] : "";
    if (path === "/livez") return answer(200, '{"status":"ok"}');
    if (path === "/readyz") {
      if (health.ready) return answer(200, '{"status":"ok"}');
      return answer(503, JSON.stringify({ status: "not ready", missing: health.why }));
    }
    if (path !== "/metrics") return answer(404, "Here are /livez, /readyz and /metrics.\n", "text/plain");
    metrics().then(
      (text) => answer(text === null ? 404 : 200, text ?? "", "text/plain; version=0.0.4; charset=utf-8"),
      () => answer(500, "The metrics cannot be read.\n", "text/plain"),
    );
  };
}

function listen(server: Server, { host, port }: Probed): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (failure: NodeJS.ErrnoException) => {
      const what = `probe_port ${port} cannot be had on ${host} (${failure.code ?? failure.message})`;
      reject(new StoreError("invalid", what, "Set probe_port to another port, or to 0 for none"));
    });
    server.listen(port, host, () => resolve());
  });
}
