/** `rspp token`: who may do what (F-115). */
import { writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import type { AccessToken } from "@rspp/gen/rspp/registry/v1/access_pb";
import { AccessService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { osCode } from "@rspp/store/store-error";
import type { TokenOptions } from "../commands/token.ts";
import { CommandError, EXIT_FAILED, EXIT_OK, usageError } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo, type Peer } from "../platform-client/connect.ts";

type Access = Peer<typeof AccessService>;
type Action = (access: Access, options: TokenOptions, printer: Printer, id: string | undefined) => Promise<void>;

const actions: Readonly<Record<string, Action>> = { create, list, revoke, "rotate-key": rotateKey };

export async function token(action: string, id: string | undefined, options: TokenOptions): Promise<number> {
  const run = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (run === undefined) throw usageError(`${action}: is nothing that can be done with tokens`, words);
  const access = connectTo("registry", options.registry, AccessService, options);
  await run(access, options, createPrinter(options.json ?? false), id);
  return EXIT_OK;
}

const words = `name one of ${Object.keys(actions).join(", ")}`;

async function create(access: Access, options: TokenOptions, printer: Printer): Promise<void> {
  const { tenant: tenantId, ttl, role, out } = options;
  const asked = { tenantId, role: roles[role], subject: options.subject ?? userName(), ttlMs: BigInt(ttl) };
  const { minted } = await access.ask((client) => client.createToken(asked));
  const about = tokenData(minted?.about);
  if (out !== undefined) await writeToken(out, minted?.token ?? "");
  printer.data({ ...about, ...(out === undefined ? { token: minted?.token } : { file: out }) });
  printer.note(
    `${about.role} of ${about.tenant} for ${about.subject}, until ${timeWords(about.expires_wall_ms)}: ${about.token_id}`,
  );
  if (out === undefined) {
    printer.note("it is shown this once; whoever has it may do this");
    printer.line(minted?.token);
  } else printer.note(`use it with --token file:${out}`);
}

const roles = { viewer: Role.VIEWER, operator: Role.OPERATOR, admin: Role.ADMIN } as const;

async function writeToken(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, `${text}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    const exists = osCode(error) === "EEXIST";
    throw new CommandError({
      status: EXIT_FAILED,
      reason: "file",
      what: `--out ${path}: ${exists ? "is there already" : `cannot be written (${osCode(error)})`}`,
      remedy:
        "name another file; the token just made is lost: revoke it with `rspp token list` and `rspp token revoke`",
    });
  }
}

async function list(access: Access, { tenant, limit }: TokenOptions, printer: Printer): Promise<void> {
  const { tokens, nextPageToken } = await access.ask((client) =>
    client.listTokens({ tenantId: tenant, page: { size: limit } }),
  );
  const rows = tokens.map(tokenData);
  printer.data({ tokens: rows, more: nextPageToken !== "" });
  if (rows.length === 0) return printer.line("no tokens");
  const columns = [{ head: "TOKEN" }, { head: "ROLE" }, { head: "HOLDER" }, { head: "STATE" }, { head: "MADE BY" }];
  const cells = rows.map((row) => [paint("bold", row.token_id), row.role, row.subject, stateOf(row), row.created_by]);
  printer.lines(table(columns, cells));
  if (nextPageToken !== "") printer.note(`there are more: raise --limit (${limit})`);
}

async function revoke(
  access: Access,
  { tenant }: TokenOptions,
  printer: Printer,
  id: string | undefined,
): Promise<void> {
  if (id === undefined) throw usageError("token revoke: which token", "name its id; `rspp token list` lists them");
  const { token: found } = await access.ask((client) => client.revokeToken({ tenantId: tenant, tokenId: id }));
  printer.data(tokenData(found));
  printer.line(`${paint("green", "revoked")} ${id}: refused everywhere within seconds`);
}

async function rotateKey(access: Access, { stolen }: TokenOptions, printer: Printer): Promise<void> {
  const { keyId, oldKeyId, oldNotAfterWallMs } = await access.ask((client) =>
    client.rotateTokenKey({ oldIsStolen: stolen ?? false }),
  );
  const end = Number(oldNotAfterWallMs);
  printer.data({ key_id: keyId, old_key_id: oldKeyId, old_not_after_wall_ms: end });
  const old = stolen ? "what it signed is refused" : `stays good until ${timeWords(end)} at least`;
  printer.line(`${paint("green", "rotated")} to key ${keyId}; the old one, ${oldKeyId}, ${old}`);
}

function tokenData(token: AccessToken | undefined) {
  return {
    token_id: token?.tokenId ?? "",
    subject: token?.subject ?? "",
    role: (Role[token?.role ?? 0] ?? "").toLowerCase(),
    tenant: token?.tenantId ?? "",
    issued_wall_ms: Number(token?.issuedWallMs ?? 0),
    expires_wall_ms: Number(token?.expiresWallMs ?? 0),
    revoked_wall_ms: Number(token?.revokedWallMs ?? 0),
    created_by: token?.createdBy ?? "",
  };
}

function stateOf({ revoked_wall_ms: revoked, expires_wall_ms: expires }: ReturnType<typeof tokenData>): string {
  if (revoked > 0) return paint("dim", `revoked ${timeWords(revoked)}`);
  return expires <= Date.now() ? paint("dim", "ended") : `until ${timeWords(expires)}`;
}

function userName(): string {
  try {
    return userInfo().username.slice(0, 128) || "unknown";
  } catch {
    // A uid without a name, as in containers.
    return "unknown";
  }
}
