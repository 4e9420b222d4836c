/**
 * The answers of the HTTP API, as in portal/api/schemas.py, and the choices of the Talk tab. This file is for the type
 * checker only; no script loads it. tests/portal/test_script_types.py compares it with the server's own types.
 */

export type Language = "en" | "zh";

/** Texts by key, in one language. */
export type Texts = Record<string, string>;

/** An error as the server reports it. */
export interface ErrorView {
  code: string;
  /** The cause. */
  message?: string;
  /** The remedy. */
  hint?: string;
  /** Which of the code's several meanings is meant. */
  cause?: string;
  report?: FaceReport | null;
}

export interface FaceReport {
  frames?: number;
  counts: Record<string, number>;
  /** [status, first frame, last frame] */
  runs: [string, number, number][];
  used: [number, number];
  concerns?: string[];
  strip?: { file: string; frame: number; status: string; used: boolean }[];
}

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";

export interface JobResult {
  clip?: string;
  notices?: string[];
  notice_codes?: string[];
}

export interface JobView {
  id: string;
  kind: "prepare" | "clip" | "parts" | "gesture" | "voice";
  name: string;
  state: JobState;
  stage: string;
  /** 0 to 1 */
  progress: number;
  avatar: string;
  backend: string;
  error: ErrorView | null;
  result: JobResult | null;
  retryable: boolean;
  gone: string;
  speaker: string;
  owner: string;
  file_name: string;
  /** seconds since the epoch, like the two fields below */
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
}

/** Parameters of boxes and masks, by name. */
export type Parameters = Record<string, string | number | boolean | number[]>;

/** What was found when the avatar of another project was imported, and how its boxes agree with ours. */
export interface Imported {
  from: string;
  pictures: number;
  used: number;
  doubled?: number;
  faceless?: number;
  compared?: number;
  median_iou?: number;
  networks?: string[];
  ignored?: number;
  crops_of?: string;
  crops_kept?: boolean;
  masks_kept?: boolean;
}

export interface AvatarView {
  id: string;
  name: string;
  kind: "still" | "clip";
  /** px */
  width: number;
  height: number;
  frames: number;
  poster: string | null;
  preview: string | null;
  /** address of a picture of the person alone, with alpha; null if the avatar has no mattes */
  cutout: string | null;
  /** address of the mattes, which say where the person is in each frame (avatars/mattes.py); null: it has none */
  mattes: string | null;
  test_clip: string | null;
  report: FaceReport;
  mouth: "personal" | "painted";
  /** why it is painted; "" if it is not */
  mouth_reason: string;
  imported: Imported | null;
  /** x, y, width and height as shares of the picture's size */
  face: [number, number, number, number] | null;
  report_pictures: string[];
  prepared: Record<string, Parameters>;
  networks: string[];
  gestures: string[];
  /** its length in seconds; null: it has none */
  voice_sample: number | null;
  /** a person's name; "": it belongs to everybody */
  owner: string;
  shared: boolean;
  /** whether the person who asks may change it */
  changeable: boolean;
  /** whether the person who asks may erase it with everything made from it, also by others */
  erasable: boolean;
}

export interface GestureView {
  name: string;
  seconds: number;
  sound: boolean;
  /** true: the avatar shows it by itself while idle */
  idle: boolean;
  poster: string | null;
  preview: string | null;
}

export interface VoiceSampleView {
  seconds: number;
  /** what is said in it; "": unknown */
  transcript: string;
}

export interface PersonaView {
  prompt: string | null;
  greeting: string | null;
  voice: string | null;
}

export interface BackendView {
  name: string;
  ready: boolean;
  reason: string;
  remedy: string;
  voices: string[];
  online_voices: string[];
  speeds: [number, number];
  parameters: Parameters | null;
  own_network: boolean;
}

// -- /choices.json: portal/ui/talk.py

export interface Choice {
  name: string;
  ready: boolean;
  remedy: string;
  fetched: boolean;
  measuring: boolean;
  voices: string[];
  online: string[];
  /** The slowest and the fastest speed, as factors of the voice's normal speed. */
  speeds: [number, number];
}

export interface Catalogue {
  tts: Choice[];
  lipsync: Choice[];
  defaults: {
    avatar?: string;
    tts?: string;
    voice?: string;
    speed?: number;
    lipsync?: string;
    transport?: string;
    /** Whether viewers may record their sessions. */
    recording?: boolean;
    /** Whether viewers may send their sessions to streaming servers. */
    push?: boolean;
    /** The language model backend, and below its model if that is known. */
    llm?: string;
    model?: string;
  };
}

export interface PersonView {
  /** "": a person without a name */
  name: string;
  role: "viewer" | "maker" | "admin";
  /** whether this portal has logins at all */
  login: boolean;
}
