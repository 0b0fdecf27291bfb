import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";
import { commonFields } from "@rspp/host/process";

/** Every key of the lease service. */
export const leaseFields = {
  port: { kind: "whole", about: "Port; 0 picks a free one", fallback: 7102, min: 0, max: 65_535 },
  ...commonFields,
  grant_key: { kind: "secret", about: "Ed25519 key of grants, PEM; made in the data directory", fallback: "" },
} as const satisfies ConfigFields;

export type LeaseConfig = ConfigValues<typeof leaseFields>;
