/**
 * Service links: Kubernetes sets variables such as `STATUS_PORT=tcp://10.0.0.1:8080` in each pod of a namespace with a service named
 * `status`.
 */
type Variables = Readonly<Record<string, string | undefined>>;

/** Why the name of a service is in the way, and what to do; `undefined` if the value is no service link of Kubernetes. */
export function explainServiceLink(name: string, value: string): string | undefined {
  if (!isServiceLink(name, value)) return undefined;
  const service = name.slice(0, -'_PORT'.length).toLowerCase().replaceAll('_', '-');
  return (
    `${name}: ${value} is ignored: Kubernetes sets it for the service "${service}". Set enableServiceLinks: false in the pod, ` +
    `or set ${name} in it.`
  );
}

/** Whether a variable has the form of a service link. */
export function isServiceLink(name: string, value: string | undefined): boolean {
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\/[\da-f.:[\]]+:\d+$/i.test(value ?? '');
}

/** The environment of the process without service links whose names the `.env` file sets. */
export function withoutServiceLinks(processEnv: Variables, fileValues: Variables): Variables {
  const entries = Object.entries(processEnv);
  return Object.fromEntries(
    entries.filter(([name, value]) => fileValues[name] === undefined || !isServiceLink(name, value)),
  );
}
