import { telemetryFields } from "@rspp/telemetry/config";
import type { ConfigFields, ConfigValues } from "./config-fields.ts";

/** Keys every service has. */
export const commonFields = {
  host: { kind: "text", about: "Address to listen on", fallback: "127.0.0.1", charsMax: 255 },
  log_level: {
    kind: "choice",
    about: "Log on standard error",
    fallback: "info",
    of: ["debug", "info", "warn", "error", "silent"],
  },
  instance_id: {
    kind: "text",
    about: "Name of this process in the fleet and its log; else made",
    fallback: "",
    charsMax: 128,
  },
  probe_port: {
    kind: "whole",
    about: "Port of /livez, /readyz and /metrics in plain HTTP, for probes that show no certificate; 0: none",
    fallback: 0,
    min: 0,
    max: 65_535,
  },
  stop_grace_ms: {
    kind: "whole",
    about: "Calls that run may go on when it stops",
    fallback: 5_000,
    min: 0,
    max: 600_000,
  },
  tls_cert: { kind: "text", about: "File of the certificate chain, PEM", fallback: "", charsMax: 4_096 },
  tls_key: { kind: "secret", about: "Its private key, PEM", fallback: "" },
  tls_ca: { kind: "text", about: "File of the CA that clients must show (mTLS)", fallback: "", charsMax: 4_096 },
  peer_ca: {
    kind: "text",
    about: "File of the CA of the services it calls; else tls_ca, else the public ones",
    fallback: "",
    charsMax: 4_096,
  },
  ...telemetryFields,
  service_token: {
    kind: "secret",
    about: "Token that the services of a platform share: shown to those it calls, asked of those that call it",
    fallback: "",
  },
  peer_names: {
    kind: "text",
    about:
      "With tls_ca: names in the certificates of those that may call, with commas between; none: all it has signed",
    fallback: "",
    charsMax: 4_096,
  },
} as const satisfies ConfigFields;

/** Of services that keep files: keys, a spool, the embedded database. */
export const dataFields = {
  data: { kind: "path", about: "Data directory: embedded database, keys", fallback: "rspp-data" },
} as const satisfies ConfigFields;

/** Of services with the platform's database. */
export const databaseFields = {
  ...dataFields,
  database_url: { kind: "secret", about: "PostgreSQL instead of the embedded one; also DATABASE_URL", fallback: "" },
} as const satisfies ConfigFields;

/** The API port, and the stream port for services with links or invocations. */
export function portField<const N extends number>(fallback: N, about = "Port; 0 picks a free one") {
  return { kind: "whole", about, fallback, min: 0, max: 65_535 } as const;
}

export const streamPortAbout = "Port of links and invocations; 0 picks a free one";

/** One key for each peer: its base URL. */
export function peerField(about: string, fallback = "") {
  return { kind: "text", about, fallback, charsMax: 1_024 } as const;
}

export type CommonValues = ConfigValues<typeof commonFields>;

/** What a definition's fields hold at least. */
export type ServiceFields = ConfigFields & typeof commonFields & { readonly port: { readonly kind: "whole" } };

/** The same values without their service's own keys; what a service lacks is undefined. */
export interface HostValues extends CommonValues {
  readonly port: number;
  readonly stream_port?: number;
  readonly data?: string;
  readonly database_url?: string;
}
