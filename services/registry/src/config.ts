import { commonFields, databaseFields, portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";

/** Every key of the registry. */
export const registryFields = {
  port: portField(7101),
  ...commonFields,
  ...databaseFields,
  token_key: { kind: "secret", about: "Ed25519 key of session tokens, PEM; made in the data directory", fallback: "" },
  token_key_days: {
    kind: "whole",
    about: "Age at which a token_key of the data directory is replaced; 0 never",
    fallback: 30,
    min: 0,
    max: 3_650,
  },
  token_ms: { kind: "whole", about: "Life of a session token", fallback: 300_000, min: 1_000, max: 3_600_000 },
  instance_fresh_ms: {
    kind: "whole",
    about: "An instance silent for longer takes no sessions",
    fallback: 15_000,
    min: 1_000,
    max: 600_000,
  },
  slo_url: {
    kind: "text",
    about:
      "Base URL of a Prometheus with deploy/prometheus/rules.yaml: rollouts wait while the error budget is spent; empty: off",
    fallback: "",
    charsMax: 1_024,
  },
  session_keep_ms: {
    kind: "whole",
    about: "Ended sessions are forgotten after",
    fallback: 604_800_000,
    min: 60_000,
    max: 31_536_000_000,
  },
} as const satisfies ConfigFields;

export type RegistryConfig = ConfigValues<typeof registryFields>;
