/**
 * Certificates that may change while a process runs (F-120): each new connection takes those of the moment, those that are open
 * live on with theirs. The watcher of the files is the host's.
 */
import type { experimental } from "@grpc/grpc-js";

export interface Certificates {
  /** PEM texts. */
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
}

type CaListener = experimental.CaCertificateUpdateListener;
type IdentityListener = experimental.IdentityCertificateUpdateListener;

export class LiveCertificates implements experimental.CertificateProvider {
  #now: Certificates;
  readonly #listeners = new Set<() => void>();
  readonly #byCa = new Map<CaListener, () => void>();
  readonly #byIdentity = new Map<IdentityListener, () => void>();

  constructor(certificates: Certificates) {
    this.#now = certificates;
  }

  get now(): Certificates {
    return this.#now;
  }

  /** New connections have these. */
  set(certificates: Certificates): void {
    this.#now = certificates;
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  addCaCertificateListener(listener: CaListener): void {
    const tell = (): void => {
      const { ca } = this.#now;
      listener(ca === undefined ? null : { caCertificate: Buffer.from(ca) });
    };
    this.#byCa.set(listener, this.onChange(tell));
    // The library listens before it has put down whom to tell, so not at once.
    queueMicrotask(() => void (this.#byCa.has(listener) && tell()));
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#byCa.get(listener)?.();
    this.#byCa.delete(listener);
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    const tell = (): void => {
      const { cert, key } = this.#now;
      const whole = cert !== undefined && key !== undefined;
      listener(whole ? { certificate: Buffer.from(cert), privateKey: Buffer.from(key) } : null);
    };
    this.#byIdentity.set(listener, this.onChange(tell));
    queueMicrotask(() => void (this.#byIdentity.has(listener) && tell()));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#byIdentity.get(listener)?.();
    this.#byIdentity.delete(listener);
  }
}
