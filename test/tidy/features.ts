/**
 * What is wrong with the map from feature numbers to the tests that prove them, a line each.
 * `readText` gives the text of a repository file, undefined when there is none.
 */
export function featureProblems(map: unknown, readText: (path: string) => string | undefined): string[] {
  if (typeof map !== "object" || map === null || Array.isArray(map)) return ["features.json holds one object"];
  return Object.entries(map).flatMap(([id, proofs]: [string, unknown]) => {
    if (!/^(?:F|NF|X)-\d{2,3}$/.test(id)) return [`${id}: a feature id looks like F-042, NF-018 or X-01`];
    if (!Array.isArray(proofs) || proofs.length === 0)
      return [`${id}: a list of at least one "path::test title" is needed`];
    return proofs.flatMap((proof: unknown) => proofProblem(id, proof, readText) ?? []);
  });
}

function proofProblem(id: string, proof: unknown, readText: (path: string) => string | undefined): string | undefined {
  const [path, title, ...rest] = typeof proof === "string" ? proof.split("::") : [];
  if (!path || !title || rest.length > 0) return `${id}: ${JSON.stringify(proof)} is not "path::test title"`;
  if (!/\.test\.ts$/.test(path)) return `${id}: ${path} is no test file`;
  const text = readText(path);
  if (text === undefined) return `${id}: there is no file ${path}`;
  return text.includes(title) ? undefined : `${id}: ${path} has no test titled "${title}"`;
}
