/** The way in: `connect(url, token, options)` opens a session and gives the client that holds it (F-084). */
import { Client } from "./client.ts";
import type { ClientOptions } from "./types.ts";

/**
 * Opens a session. `url` and `token` are those of a route, e.g. `ws://127.0.0.1:7206/v1/session`.
 *
 * @throws ClientError (as a rejection): `refused` with the server's reason and remedy, `unreachable`, `timeout`.
 */
export async function connect(url: string, token: string, options: ClientOptions = {}): Promise<Client> {
  const client = new Client(url, token, options);
  await client.open();
  return client;
}
