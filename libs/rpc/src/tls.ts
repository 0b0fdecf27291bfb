/** TLS and mutual TLS of both stacks, from PEM text. */
import type { Socket } from "node:net";
import { rootCertificates, type TLSSocket, type Server as TlsServer } from "node:tls";
import { ChannelCredentials, experimental, ServerCredentials } from "@grpc/grpc-js";
import { LiveCertificates } from "./live-certificates.ts";

/** `ca` makes a server ask for client certificates and refuse those it does not sign (mTLS). */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
  /** Where later ones come from; whether clients are asked for theirs does not change. */
  readonly live?: LiveCertificates;
}

/** `ca` replaces the public roots; `cert` and `key` are shown to a server that asks. */
export interface ClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Name the server's certificate must hold, where it is not the host of the address. */
  readonly serverName?: string;
  /** Where later ones come from, for connections still to be made. */
  readonly live?: LiveCertificates;
}

export function serverCredentials(tls: ServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  if (tls.live !== undefined) {
    // The library takes the identity's provider first, whatever its types call it; here one object is both.
    const ca = tls.ca === undefined ? null : tls.live;
    return experimental.createCertificateProviderServerCredentials(tls.live, ca, ca !== null);
  }
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}

export function channelCredentials(tls: ClientTls | undefined): ChannelCredentials {
  if (tls === undefined) return ChannelCredentials.createInsecure();
  if (tls.live !== undefined) {
    const roots = tls.ca === undefined ? new LiveCertificates({ ca: rootCertificates.join("\n") }) : tls.live;
    const own = tls.cert === undefined ? null : tls.live;
    return experimental.createCertificateProviderChannelCredentials(roots, own);
  }
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  return ChannelCredentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}

/** Options of node:tls for a server of the Connect stack. */
export function serverTlsOptions(tls: ServerTls): {
  cert: string;
  key: string;
  ca?: string;
  requestCert: boolean;
  rejectUnauthorized: boolean;
} {
  const { cert, key, ca } = { ...tls, ...tls.live?.now };
  const mutual = ca !== undefined;
  return { cert, key, ...(mutual ? { ca } : {}), requestCert: mutual, rejectUnauthorized: mutual };
}

/** Gives a server's later certificates to the connections it still has to take. Returns what ends that. */
export function followCertificates(tls: ServerTls, server: Pick<TlsServer, "setSecureContext">): () => void {
  return (
    tls.live?.onChange(() => {
      const { cert, key, ca } = serverTlsOptions(tls);
      server.setSecureContext({ cert, key, ...(ca === undefined ? {} : { ca }) });
    }) ?? (() => undefined)
  );
}

/** Options of node:tls for a client of the Connect stack; read for each connection, so that it has what is there then. */
export function clientTlsOptions(tls: ClientTls): { ca?: string; cert?: string; key?: string; servername?: string } {
  const { serverName, live, ...pems } = tls;
  const name = serverName === undefined ? {} : { servername: serverName };
  if (live === undefined) return { ...pems, ...name };
  const options = { ...name };
  for (const part of ["ca", "cert", "key"] as const) {
    if (pems[part] === undefined) continue;
    Object.defineProperty(options, part, { enumerable: true, get: () => live.now[part] ?? pems[part] });
  }
  return options;
}

/** The parts of a certificate that hold names. */
export interface NamedCertificate {
  readonly subject?: { readonly CN?: string | string[] };
  readonly subjectaltname?: string;
}

/** Common name and DNS names. */
export function namesOf(certificate: NamedCertificate | undefined): readonly string[] {
  const alternatives = (certificate?.subjectaltname ?? "").split(",").map((name) => name.trim().replace(/^DNS:/, ""));
  return [certificate?.subject?.CN ?? [], alternatives].flat().filter((name) => name !== "");
}

const namesBySocket = new WeakMap<Socket, readonly string[]>();

/** Of the client, where the server asked for a certificate and its CA has signed it; else none. */
export function certificateNames(socket: Socket): readonly string[] {
  // HTTP/2 hands out a stand-in for its socket that is no instance of it, but reads through.
  const tls = socket as Partial<TLSSocket>;
  if (tls.encrypted !== true || tls.authorized !== true || typeof tls.getPeerCertificate !== "function") return [];
  const known = namesBySocket.get(socket);
  if (known !== undefined) return known;
  const names = namesOf(tls.getPeerCertificate());
  namesBySocket.set(socket, names);
  return names;
}
