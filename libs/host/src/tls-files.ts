/** Certificates of a process: read from their files at the start, and again while it runs (F-120). */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { type Certificates, LiveCertificates } from "@rspp/rpc/live-certificates";
import { describeFailure, type Log } from "@rspp/rpc/log";
import type { ClientTls, ServerTls } from "@rspp/rpc/tls";
import { secretSource } from "@rspp/store/secret";
import { osCode, StoreError } from "@rspp/store/store-error";
import type { HostValues } from "./common-fields.ts";
import type { Environment } from "./service.ts";

export interface TlsFiles {
  readonly server: ServerTls | undefined;
  readonly client: ClientTls | undefined;
  /** Reads the files again; what holds together and is new is for connections from now on. Never rejects. */
  look(): Promise<void>;
}

interface Pems {
  readonly pair: { readonly cert: string; readonly key: string } | null;
  /** Of those who call. */
  readonly ca: string | null;
  /** Of those who are called; null: the public ones. */
  readonly peerCa: string | null;
}

/** A certificate that ends within is told of at each look that finds it anew. */
const endsSoonMs = 7 * 86_400_000;

/** @throws StoreError `invalid` or `secret_missing`, by the key that is wrong. */
export async function openTls(values: HostValues, env: Environment, log: Log): Promise<TlsFiles> {
  let pems = await readPems(values, env);
  const served = new LiveCertificates(servedOf(pems));
  const shown = new LiveCertificates(shownOf(pems));
  tell(log, pems, "certificates read");
  let failed = "";
  return {
    server:
      pems.pair === null ? undefined : { ...pems.pair, ...(pems.ca === null ? {} : { ca: pems.ca }), live: served },
    client: pems.pair === null && pems.peerCa === null ? undefined : { ...shownOf(pems), live: shown },
    look: async () => {
      try {
        const found = await readPems(values, env);
        failed = "";
        if (JSON.stringify(found) === JSON.stringify(pems)) return;
        pems = found;
        served.set(servedOf(pems));
        shown.set(shownOf(pems));
        tell(log, pems, "certificates rotated");
      } catch (failure) {
        // Files are replaced one after the other: the next look finds them whole.
        const why = failure instanceof Error ? failure.message : "unknown";
        if (why !== failed) log.warn(describeFailure(failure), "certificates not taken up yet; the last stay in force");
        failed = why;
      }
    },
  };
}

function servedOf({ pair, ca }: Pems): Certificates {
  return { ...pair, ...(ca === null ? {} : { ca }) };
}

function shownOf({ pair, peerCa }: Pems): Certificates {
  return { ...pair, ...(peerCa === null ? {} : { ca: peerCa }) };
}

async function readPems({ tls_cert, tls_key, tls_ca, peer_ca }: HostValues, env: Environment): Promise<Pems> {
  const ca = tls_ca === "" ? null : await textOf("tls_ca", tls_ca);
  const peerCa = peer_ca === "" ? ca : await textOf("peer_ca", peer_ca);
  if (tls_cert === "" && tls_key === "" && tls_ca === "") return { pair: null, ca, peerCa };
  if (tls_cert === "" || tls_key === "") {
    throw new StoreError("invalid", "TLS needs both tls_cert and tls_key", "Set both, or none of the tls keys");
  }
  const cert = await textOf("tls_cert", tls_cert);
  const key = (await secretSource(tls_key, env).read()).reveal();
  checkPair(cert, key, ca, peerCa);
  return { pair: { cert, key }, ca, peerCa };
}

/** Half of a rotation is none. */
function checkPair(cert: string, key: string, ca: string | null, peerCa: string | null): void {
  let fits: boolean;
  try {
    fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
    for (const authority of [ca, peerCa])
      createSecureContext({ cert, key, ...(authority === null ? {} : { ca: authority }) });
  } catch (error) {
    const what = `tls_cert, tls_key or an authority's file is no PEM (${osCode(error) || "unreadable"})`;
    throw new StoreError("invalid", what, "Check what the files hold", error);
  }
  if (!fits) throw new StoreError("invalid", "tls_key is not the key of tls_cert", "Set the two that belong together");
}

function tell(log: Log, { pair }: Pems, message: string): void {
  if (pair === null) return;
  const { subject, validTo, serialNumber } = new X509Certificate(pair.cert);
  const fields = { subject: subject.replaceAll("\n", ", "), not_after: validTo, serial: serialNumber };
  const leftMs = Date.parse(validTo) - Date.now();
  if (leftMs < endsSoonMs) log.warn({ ...fields, left_hours: Math.floor(leftMs / 3_600_000) }, "certificate ends soon");
  else log.info(fields, message);
}

async function textOf(key: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new StoreError("invalid", `${key} cannot be read (${osCode(error)})`, "Check the path and its rights");
  }
}
