/** How Google Cloud's gRPC clients reach their endpoint with an API key: TLS, or plainly where an `http` URL says so. */
import { createRequire } from "node:module";

/** The part of `@grpc/grpc-js` used here. */
interface Grpc {
  readonly credentials: {
    createSsl(): object;
    createInsecure(): object;
    createFromMetadataGenerator(
      generate: (about: unknown, done: (error: Error | null, metadata?: object) => void) => void,
    ): object;
    combineChannelCredentials(channel: object, call: object): object;
  };
  readonly Metadata: new () => { set(name: string, value: string): void };
}

export interface GoogleChannel {
  /** For the client's constructor. */
  readonly options: {
    readonly apiEndpoint: string;
    readonly port: number;
    readonly sslCreds: never;
    readonly clientOptions: { readonly universeDomain: string };
    readonly "grpc.max_reconnect_backoff_ms": number;
  };
  /** Of each call; of the same copy of gRPC. */
  metadata(key: string): object;
}

/**
 * `packageName`: the client's package, whose own copy of gRPC the credentials must come from. The key is read at each call,
 * so that a rotated one is met; without TLS it goes as a header of the call, as the credentials may not carry it there.
 */
export function googleChannel(packageName: string, baseUrl: string, key: () => string | undefined): GoogleChannel {
  const url = new URL(baseUrl);
  const fromHere = createRequire(import.meta.url);
  const { grpc } = createRequire(fromHere.resolve(packageName))("google-gax") as { grpc: Grpc };
  const { credentials, Metadata } = grpc;
  const secure = url.protocol === "https:";
  const ofCall = credentials.createFromMetadataGenerator((_about, done) => {
    const metadata = new Metadata();
    metadata.set("x-goog-api-key", key() ?? "");
    done(null, metadata);
  });
  const creds = secure
    ? credentials.combineChannelCredentials(credentials.createSsl(), ofCall)
    : credentials.createInsecure();
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  return {
    // Named here, the domain is not looked for on Google's metadata server.
    options: {
      apiEndpoint: url.hostname,
      port,
      sslCreds: creds as never,
      clientOptions: { universeDomain: "googleapis.com" },
      // An endpoint that is well again is used again soon.
      "grpc.max_reconnect_backoff_ms": 5_000,
    },
    metadata: (now) => {
      const metadata = new Metadata();
      if (!secure) metadata.set("x-goog-api-key", now);
      return metadata;
    },
  };
}
