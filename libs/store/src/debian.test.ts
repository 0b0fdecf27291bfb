import { describe, expect, test } from "vitest";
import { debianMissing } from "./testkit/debian-server.ts";
import { serverVariable, testDatabase } from "./testkit/test-database.ts";

// The same tests as on the embedded server, on that of Debian's package, reached as DATABASE_URL reaches it.

process.env[serverVariable] = "debian";
const missing = debianMissing();

describe.skipIf(missing !== undefined)(
  `on Debian's PostgreSQL${missing === undefined ? "" : ` (${missing})`}`,
  async () => {
    test("NF-031 the schema is brought up to date on a server of the distribution, over TCP and with a password", async () => {
      const at = await testDatabase();
      try {
        expect(at.db.url).toContain("@127.0.0.1:");
        expect(at.db.server).toBeUndefined();
      } finally {
        await at.close();
      }
    });

    await import("./pg-stores.test.ts");
    await import("./pg-session-store.test.ts");
    await import("./backup.test.ts");
  },
);
