import { debianMissing } from "@rspp/store/testkit/debian-server";
import { serverVariable } from "@rspp/store/testkit/test-database";
import { describe } from "vitest";

// The lease service's tests on the server of Debian's package, as several replicas share it through DATABASE_URL.

process.env[serverVariable] = "debian";
const missing = debianMissing();

describe.skipIf(missing !== undefined)(
  `on Debian's PostgreSQL${missing === undefined ? "" : ` (${missing})`}`,
  async () => {
    await import("./lease-service.test.ts");
    await import("./repeats.test.ts");
    await import("./lease-replicas.test.ts");
  },
);
