/**
 * What is not consistent is not published (F-159): a document that names what does not exist is kept back, the one of before
 * stays in its place, and the rest goes out.
 */
import type { ActiveDocument as WireDocument } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { ActiveDocument } from "@rspp/store/active-documents";

export interface KeptBack {
  /** `kind/tenant/name@version`. */
  readonly subject: string;
  readonly problem: string;
}

export interface Sifted {
  readonly documents: readonly Sendable[];
  readonly keptBack: readonly KeptBack[];
}

export interface Sendable {
  readonly tenantId: string;
  readonly name: string;
  readonly version: number;
  readonly digest: Uint8Array;
  readonly content: Uint8Array;
}

/** Null where the document is fit to be sent; else what is wrong with it and what to do. */
export type DocumentCheck = (document: Pick<ActiveDocument, "tenantId" | "name" | "content">) => Promise<string | null>;

export async function siftDocuments(
  found: readonly ActiveDocument[],
  before: readonly WireDocument[],
  check: DocumentCheck,
): Promise<Sifted> {
  const documents: Sendable[] = [];
  const keptBack: KeptBack[] = [];
  for (const document of found) {
    const { tenantId, kind, name, version } = document;
    const problem = await check(document);
    if (problem === null) {
      const digest = new Uint8Array(Buffer.from(document.digest, "hex"));
      documents.push({ tenantId, name, version, digest, content: document.content });
      continue;
    }
    keptBack.push({ subject: `${kind}/${tenantId}/${name}@${version}`, problem: problem.slice(0, 1_024) });
    const last = before.find((one) => one.tenantId === tenantId && one.name === name);
    if (last !== undefined && (await check(last)) === null) documents.push(last);
  }
  return { documents, keptBack };
}
