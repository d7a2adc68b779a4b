import type { ErrorShape } from './faults.ts';

/** Trace id of the error bodies. */
export const TRACE_ID = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00';

interface ErrorBody {
  contentType: string;
  text: string;
}

/** Renders an error body in one of the shapes of UiPath's servers. Only the first two contain the trace id. */
export function renderErrorBody(
  shape: ErrorShape,
  status: number,
  message = `Simulated error ${status}`,
): ErrorBody {
  if (shape === 'html') return { contentType: 'text/html', text: gatewayPage(status) };
  const bodies: Record<Exclude<ErrorShape, 'html'>, unknown> = {
    message: { message, errorCode: 1000 + status, traceId: TRACE_ID },
    problem: {
      type: 'https://tools.ietf.org/html/rfc7231',
      title: message,
      status,
      errors: { request: [message] },
      traceId: TRACE_ID,
    },
    errorMessage: { errorMessage: message },
    error: { error: { code: `Simulated${status}`, message } },
    oauth: { error: 'simulated_error', error_description: message },
  };
  return {
    contentType: shape === 'problem' ? 'application/problem+json' : 'application/json; charset=utf-8',
    text: JSON.stringify(bodies[shape]),
  };
}

function gatewayPage(status: number): string {
  return `<html>\r\n<head><title>${status} Gateway</title></head>\r\n<body>\r\n<center><h1>${status}</h1></center>\r\n<hr><center>Microsoft-Azure-Application-Gateway/v2</center>\r\n</body>\r\n</html>\r\n`;
}

/** UiPath's response, with status 200, to an unknown path. */
export const PORTAL_PAGE =
  '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>UiPath Automation Cloud</title><base href="/portal_/"></head>\n<body><app-root></app-root><script src="main.js"></script></body>\n</html>\n';
