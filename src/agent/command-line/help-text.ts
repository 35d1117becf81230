/** Examples below a command's help, as a person would type them. */
export function examples(...lines: readonly string[]): string {
  const [title, ...all] = [lines.length === 1 ? 'Example:' : 'Examples:', ...lines];
  return ['', title, ...all.map((line) => `  pve-reconciler ${line}`)].join('\n');
}
