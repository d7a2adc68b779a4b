export function sortTests(root: string): { unit: string[]; integration: string[] };
export function importsOf(text: string): string[];
