// Every way in which a call can fail, under the five names that people are told about.

export const KINDS = ["NotAllowedError", "NotFoundError", "NetworkError", "TimeoutError", "UnknownError"];

// By reason: the hub's (EndReason), and three that only a browser knows. What is missing here is an ordinary end.
export const KIND_OF = {
  user_offline: "NetworkError",
  busy: "UnknownError",
  do_not_disturb: "UnknownError",
  timeout: "TimeoutError",
  rejected: "UnknownError",
  not_allowed: "NotAllowedError",
  peer_lost: "NetworkError",
  media_failed: "NetworkError",
  network: "NetworkError",
  card_missing: "UnknownError",
  card_denied: "UnknownError",
  failed: "UnknownError",
  microphone_denied: "NotAllowedError",
  microphone_missing: "NotFoundError",
  microphone_failed: "UnknownError",
};

// A person who did not answer is not told that the caller's call failed.
export const QUIET_FOR_CALLEE = ["timeout", "rejected", "busy", "user_offline", "do_not_disturb", "not_allowed"];

const MICROPHONE_REASONS = {
  NotAllowedError: "microphone_denied",
  SecurityError: "microphone_denied",
  NotFoundError: "microphone_missing",
  OverconstrainedError: "microphone_missing",
};

// What getUserMedia has raised (W3C Media Capture, section 9.2), as a reason.
export function microphoneReason(error) {
  return MICROPHONE_REASONS[error?.name] ?? "microphone_failed";
}

// What the hub is told when a call ends by it: its protocol knows cards.
export const REPORTED = {
  microphone_denied: "card_denied",
  microphone_missing: "card_missing",
  microphone_failed: "card_missing",
  media_failed: "media_failed",
  network: "network",
  peer_lost: "network",
};
