/** The audit log, to be read, kept elsewhere and checked (F-097, F-170). */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { fieldError, overStore, storeFailure } from "@rspp/host/store-failure";
import { rpcError } from "@rspp/rpc/errors";
import { type RpcRoute, route } from "@rspp/rpc/route";
import { ChainCheck } from "@rspp/store/audit-chain";
import type { AuditEntry, AuditLink, AuditStore } from "@rspp/store/audit-store";

const domain = "registry";
const pageSizeDefault = 100;
/** Records of one message of an export: a record is at most about 20 KiB. */
const exportPage = 100;
const checkPage = 500;

export function auditRoute(store: AuditStore): RpcRoute {
  return route(AuditService, {
    listAudit: ({ tenantId, action, page }) =>
      overStore(domain, async () => {
        const limit = page?.size || pageSizeDefault;
        const before = beforeOf(page?.token ?? "");
        const asked = { tenantId, limit, ...before, ...(action === "" ? {} : { action }) };
        const links = await store.list(asked);
        const more = links.length === limit ? String(links.at(-1)?.id ?? "") : "";
        return { records: links.map(linkToWire), nextPageToken: more };
      }),
    exportAudit: async function* ({ fromId }, { signal }) {
      try {
        yield* exported(store, Math.max(1, Number(fromId)), signal);
      } catch (failure) {
        throw storeFailure(failure, domain);
      }
    },
    verifyAudit: ({ anchorId, anchorDigest }) =>
      overStore(domain, async () => {
        const anchor = anchorId === 0n ? null : { id: Number(anchorId), digest: anchorDigest };
        const check = new ChainCheck(undefined, anchor);
        const head = await store.head();
        for await (const links of pages(store, 1, head.id, checkPage)) for (const link of links) check.feed(link);
        // What came after the head was read is not looked at; a row that stands beyond the head of even later is no row of ours.
        const [later] = await store.read({ fromId: head.id + 1, limit: 1 });
        if (later !== undefined && (await store.head()).id < later.id) check.feed(later);
        const faults = check.finish(head);
        return {
          records: BigInt(check.count),
          headId: BigInt(head.id),
          headDigest: new Uint8Array(head.digest),
          faults: faults.map(({ id, kind, what }) => ({ id: BigInt(id), kind, what })),
        };
      }),
    reportAudit: ({ reports, idempotencyKey }) =>
      overStore(domain, async () => {
        const entries = reports.map(({ detailJson, atWallMs, ...report }, i): AuditEntry => {
          return { ...report, atWallMs: Number(atWallMs), detail: detailOf(detailJson, `reports[${i}].detail_json`) };
        });
        await store.appendMany(entries, idempotencyKey);
        return {};
      }),
  });
}

async function* exported(store: AuditStore, fromId: number, signal: AbortSignal) {
  const head = await store.head();
  for await (const links of pages(store, fromId, head.id, exportPage)) {
    if (signal.aborted) return;
    yield { records: links.map(linkToWire) };
  }
  yield { last: true, headId: BigInt(head.id), headDigest: new Uint8Array(head.digest) };
}

/** Up to `toId`, so that what is written meanwhile makes no difference. */
async function* pages(store: AuditStore, fromId: number, toId: number, limit: number) {
  for (let next = fromId; next <= toId; ) {
    const links = (await store.read({ fromId: next, limit })).filter(({ id }) => id <= toId);
    const last = links.at(-1);
    if (last === undefined) return;
    yield links;
    next = last.id + 1;
  }
}

function linkToWire({ id, tenantId, atWallMs, actor, action, subject, detail, previous, digest, row }: AuditLink) {
  return {
    ...{ tenantId, actor, action, subject, row },
    id: BigInt(id),
    atWallMs: BigInt(atWallMs),
    detailJson: JSON.stringify(detail),
    previous: new Uint8Array(previous),
    digest: new Uint8Array(digest),
  };
}

function beforeOf(token: string): { readonly before?: number } {
  if (token === "") return {};
  if (/^\d{1,15}$/.test(token)) return { before: Number(token) };
  throw fieldError(domain, { field: "page.token", rule: "page", message: "is not one of this list" });
}

function detailOf(json: string, field: string): AuditEntry["detail"] {
  try {
    const found: unknown = JSON.parse(json === "" ? "{}" : json);
    if (typeof found === "object" && found !== null && !Array.isArray(found)) return found as AuditEntry["detail"];
  } catch {
    // Told below.
  }
  const violations = [{ field, rule: "json", message: "is no JSON object" }];
  throw rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain, violations });
}
