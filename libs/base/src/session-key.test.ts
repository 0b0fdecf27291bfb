import fc from "fast-check";
import { expect, test } from "vitest";
import { sessionKey } from "./session-key.ts";

test("equal keys only for equal tenant and session, whatever characters they hold", () => {
  const part = fc.string({ unit: fc.constantFrom("/", "1", "a", "\n"), maxLength: 4 });
  fc.assert(
    fc.property(part, part, part, part, (tenantId, sessionId, otherTenant, otherSession) => {
      const same = tenantId === otherTenant && sessionId === otherSession;
      const keys = [
        sessionKey({ tenantId, sessionId }),
        sessionKey({ tenantId: otherTenant, sessionId: otherSession }),
      ];
      expect(keys[0] === keys[1]).toBe(same);
    }),
  );
});
