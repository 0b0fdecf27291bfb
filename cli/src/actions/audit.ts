/** `rspp audit`: the audit log, to be read, kept elsewhere and checked (F-097, F-170). */
import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { AuditRecord } from "@rspp/gen/rspp/registry/v1/access_pb";
import { AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import type { ChainFault } from "@rspp/store/audit-chain";
import { endLine, headLine, hex, recordLine, verifyAuditFile } from "@rspp/store/audit-file";
import type { AuditHead } from "@rspp/store/audit-store";
import { osCode } from "@rspp/store/store-error";
import type { AuditOptions } from "../commands/audit.ts";
import { CommandError, EXIT_FAILED, EXIT_INPUT, EXIT_OK, usageError } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo, type Peer } from "../platform-client/connect.ts";

type Log = Peer<typeof AuditService>;

export async function audit(action: string, file: string | undefined, options: AuditOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const connect = (): Log => connectTo("registry", options.registry, AuditService, options);
  if (action === "verify") return verify(file, options, printer, connect);
  if (file !== undefined) throw usageError(`${file}: only verify reads a file`, "leave it out");
  if (action === "list") return list(connect(), options, printer);
  if (action === "export") return exportAll(connect(), options, printer);
  throw usageError(`${action}: is nothing that can be done with the audit log`, "name one of list, export, verify");
}

async function list(log: Log, { tenant, action = "", limit }: AuditOptions, printer: Printer): Promise<number> {
  const { records, nextPageToken } = await log.ask((client) =>
    client.listAudit({ tenantId: tenant, action, page: { size: limit } }),
  );
  const rows = records.map(recordData);
  printer.data({ records: rows, more: nextPageToken !== "" });
  if (rows.length === 0) printer.line("no records");
  else {
    const columns = [{ head: "ID", right: true }, { head: "TIME" }, { head: "WHO" }, { head: "DID" }, { head: "TO" }];
    const cells = rows.map((row) => {
      const did = row.action.replace(/rspp\.\w+\.v1\.\w+\//, "");
      const coloured = did.startsWith("denied ") ? paint("red", did) : did;
      return [String(row.id), timeWords(row.at_wall_ms), row.actor, coloured, row.subject];
    });
    printer.lines(table(columns, cells));
  }
  if (nextPageToken !== "") printer.note(`there are more: raise --limit (${limit})`);
  return EXIT_OK;
}

async function exportAll(log: Log, { out }: AuditOptions, printer: Printer): Promise<number> {
  let count = 0;
  let head: AuditHead = { id: 0, digest: new Uint8Array(32) };
  async function* lines(): AsyncIterable<string> {
    yield `${headLine(1)}\n`;
    for await (const { records, last, headId, headDigest } of log.stream((client) => client.exportAudit({}))) {
      for (const { id, previous, digest, row } of records) {
        count++;
        yield `${recordLine({ id: Number(id), previous, digest, row })}\n`;
      }
      if (last) head = { id: Number(headId), digest: headDigest };
    }
    yield `${endLine(head)}\n`;
  }
  if (out === undefined) {
    for await (const line of lines()) process.stdout.write(line);
    return EXIT_OK;
  }
  try {
    await pipeline(Readable.from(lines()), createWriteStream(out, { mode: 0o600, flags: "wx" }));
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const what = `--out ${out}: ${osCode(error) === "EEXIST" ? "is there already" : `cannot be written (${osCode(error)})`}`;
    throw new CommandError({ status: EXIT_FAILED, reason: "file", what, remedy: "name another file" });
  }
  printer.data({ file: out, records: count, head_id: head.id, head_digest: hex(head.digest) });
  printer.line(
    `${paint("green", "exported")} ${count} records to ${out}; the chain ends with ${head.id}:${hex(head.digest)}`,
  );
  return EXIT_OK;
}

async function verify(
  file: string | undefined,
  options: AuditOptions,
  printer: Printer,
  connect: () => Log,
): Promise<number> {
  const anchor = anchorOf(options.anchor);
  const verdict = file === undefined ? await verifyThere(connect(), anchor) : await verifyFile(file, anchor);
  const { records, head, faults } = verdict;
  printer.data({ ok: faults.length === 0, records, head_id: head.id, head_digest: hex(head.digest), faults });
  if (faults.length === 0) {
    printer.line(`${paint("green", "whole")}: ${records} records, up to ${head.id}:${hex(head.digest)}`);
    return EXIT_OK;
  }
  printer.line(`${paint("red", "not whole")}: ${faults.length} faults in ${records} records`);
  const columns = [{ head: "RECORD", right: true }, { head: "KIND" }, { head: "WHAT" }];
  printer.lines(
    table(
      columns,
      faults.map(({ id, kind, what }) => [String(id), kind, what]),
    ),
  );
  return EXIT_FAILED;
}

interface Verdict {
  readonly records: number;
  readonly head: AuditHead;
  readonly faults: readonly {
    readonly id: number;
    readonly kind: ChainFault["kind"] | string;
    readonly what: string;
  }[];
}

async function verifyThere(log: Log, anchor: AuditHead | null): Promise<Verdict> {
  const asked = anchor === null ? {} : { anchorId: BigInt(anchor.id), anchorDigest: new Uint8Array(anchor.digest) };
  const { records, headId, headDigest, faults } = await log.ask((client) => client.verifyAudit(asked));
  return {
    records: Number(records),
    head: { id: Number(headId), digest: headDigest },
    faults: faults.map(({ id, kind, what }) => ({ id: Number(id), kind, what })),
  };
}

async function verifyFile(path: string, anchor: AuditHead | null): Promise<Verdict> {
  try {
    await (await open(path)).close();
  } catch (error) {
    const what = `${path}: cannot be read (${osCode(error)})`;
    throw new CommandError({ status: EXIT_INPUT, reason: "file", what, remedy: "name a file of `rspp audit export`" });
  }
  return verifyAuditFile(
    createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY }),
    anchor,
  );
}

function anchorOf(text: string | undefined): AuditHead | null {
  if (text === undefined) return null;
  const [, id, digest = ""] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (id !== undefined) return { id: Number(id), digest: new Uint8Array(Buffer.from(digest, "hex")) };
  throw usageError(`--anchor ${text}: is no record`, "write ID:DIGEST as export and verify print it");
}

function recordData({ id, tenantId, atWallMs, actor, action, subject, detailJson, digest }: AuditRecord) {
  const detail: unknown = JSON.parse(detailJson || "{}");
  const times = { at_wall_ms: Number(atWallMs) };
  return { id: Number(id), tenant: tenantId, ...times, actor, action, subject, detail, digest: hex(digest) };
}
