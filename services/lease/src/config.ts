import { commonFields, databaseFields, portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";

/** Every key of the lease service. */
export const leaseFields = {
  port: portField(7102),
  ...commonFields,
  ...databaseFields,
  grant_key: { kind: "secret", about: "Ed25519 key of grants, PEM; made in the data directory", fallback: "" },
} as const satisfies ConfigFields;

export type LeaseConfig = ConfigValues<typeof leaseFields>;
