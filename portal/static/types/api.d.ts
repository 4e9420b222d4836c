/**
 * What the HTTP API answers with, as portal/api/schemas.py has it, and the choices of the Talk tab. For the type checker
 * only: no script loads this. tests/portal/test_script_types.py compares it with the server's own.
 */

export type Language = "en" | "zh";

/** By key, in one language. */
export type Texts = Record<string, string>;

/** What went wrong, as the server tells it. */
export interface ErrorView {
  code: string;
  /** The cause. */
  message?: string;
  /** The remedy. */
  hint?: string;
  /** Which of several things the code stands for. */
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
  /** s since the epoch, as the two below */
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
}

/** Of boxes and masks, by name. */
export type Parameters = Record<string, string | number | boolean | number[]>;

/** How the avatar of another project agrees with ours. */
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
  /** of the person alone, with alpha; null where nobody knows what is the person */
  cutout: string | null;
  /** where the person is in each frame: avatars/mattes.py */
  mattes: string | null;
  test_clip: string | null;
  report: FaceReport;
  mouth: "personal" | "painted";
  /** why it is painted, else empty */
  mouth_reason: string;
  imported: Imported | null;
  /** x, y, width, height in parts of the picture */
  face: [number, number, number, number] | null;
  report_pictures: string[];
  prepared: Record<string, Parameters>;
  networks: string[];
  gestures: string[];
  /** seconds; null: it has none */
  voice_sample: number | null;
  /** a person's name; empty: everybody's */
  owner: string;
  shared: boolean;
  /** by who looks at it */
  changeable: boolean;
  /** with what others made from it, by who looks at it */
  erasable: boolean;
}

export interface GestureView {
  name: string;
  seconds: number;
  sound: boolean;
  /** The avatar shows it by itself. */
  idle: boolean;
  poster: string | null;
  preview: string | null;
}

export interface VoiceSampleView {
  seconds: number;
  /** what is said in it; empty: not known */
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
  /** The slowest and the fastest, in times as fast as by itself. */
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
    /** The backend that answers, and its model where that is known. */
    llm?: string;
    model?: string;
  };
}

export interface PersonView {
  /** "": one without */
  name: string;
  role: "viewer" | "maker" | "admin";
  /** whether people log in here at all */
  login: boolean;
}
