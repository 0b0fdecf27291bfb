/** What the registry holds, as people and programs read it. */
import type { PublishedVersion } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { usageError } from "./errors.ts";
import { hexOf } from "./output/words.ts";

export interface VersionData {
  pipeline: string;
  name: string;
  version: number;
  /** SHA-256 of the normalised content, hexadecimal. */
  digest: string;
  author: string;
  published_wall_ms: number;
  note: string;
  deprecated: boolean;
}

export function versionData(published: PublishedVersion): VersionData {
  const { name, version, digest, author, publishedWallMs, note, deprecated } = published;
  return {
    pipeline: `${name}@${version}`,
    name,
    version,
    digest: hexOf(digest),
    author,
    published_wall_ms: Number(publishedWallMs),
    note,
    deprecated,
  };
}

export interface PipelineName {
  readonly name: string;
  /** 0: the newest. */
  readonly version: number;
}

/** @throws CommandError for what is no `name` or `name@version`. */
export function pipelineName(text: string): PipelineName {
  const [, name, version = "0"] = /^([a-z][a-z0-9_-]{0,63})(?:@(\d{1,9}))?$/.exec(text) ?? [];
  if (name === undefined)
    throw usageError(`${text}: is no pipeline`, "write its name, or name@version, as `rspp pipelines` lists them");
  return { name, version: Number(version) };
}
