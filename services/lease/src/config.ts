import { commonFields, databaseFields, peerField, portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";

/** Every key of the lease service. */
export const leaseFields = {
  port: portField(7102),
  ...commonFields,
  ...databaseFields,
  registry: peerField(
    "Base URL of the registry, whose keys verify access tokens; empty: they are read in the database",
  ),
  grant_key_days: {
    kind: "whole",
    about: "Age at which a grant_key of the data directory is replaced; 0 never",
    fallback: 30,
    min: 0,
    max: 3_650,
  },
  grant_key: { kind: "secret", about: "Ed25519 key of grants, PEM; made in the data directory", fallback: "" },
} as const satisfies ConfigFields;

export type LeaseConfig = ConfigValues<typeof leaseFields>;
