// The types of explanations and of what is drawn of them.

export type Task = 'classification' | 'captioning' | 'vqa';
export type View = 'grad-cam' | 'guided' | 'guided-grad-cam' | 'counterfactual' | 'spotlight';
/** left, top, right, bottom: shares of the sides, or pixels */
export type Box = [number, number, number, number];
export type Picture = HTMLImageElement | HTMLCanvasElement;
export type Drawable = Picture | HTMLVideoElement;

export type Packed = { h: number; w: number; max: number; data: string };
/** A map (h, w); values in [0, 1], in shares of max */
export type HeatMap = { h: number; w: number; max: number; values: Float32Array };
/** A signed gradient (h, w, 3) */
export type Gradient = { h: number; w: number; values: Float32Array };

/** How a result is drawn */
export type Style = { view: View; map: HeatMap; table: Uint8Array; opacity: number; gain: number };
/** What `draw` reads of a result */
export type Drawn = { photo: { image: Drawable }; box: Box; gradient: Gradient | null };

// ---- Explanations, see docs/json.md ----

export type Prediction = { text: string; probability: number };
export type Word<M = HeatMap> = { text: string; log_prob: number; raw: M };

export interface Explanation<M = Packed, G = Packed> {
  task: Task;
  model: string;
  layer: string;
  method: string;
  question: string | null;
  detail: number;
  target: string;
  score: number;
  /** null where the target is a function */
  probability: number | null;
  /** among all labels, 1 for the first choice; null for captions and functions */
  rank: number | null;
  unsure: boolean;
  faint: boolean;
  /** the maximum of the first choice's map; null where the two cannot be compared */
  first_choice_max: number | null;
  unknown_words: string[];
  predictions: Prediction[];
  words: Word<M>[];
  raw: M;
  raw_counterfactual: M;
  gradient: G | null;
  box: Box;
  position_known: boolean;
  remarks: string[];
}

// ---- Interactive pages ----

type OfPage = {
  /** index of its photo */
  picture: number;
  model_title: string;
  method_title: string;
};
/** The data of an interactive page, see gradcam_core/interactive.py */
export interface InteractivePage {
  /** data: URLs */
  pictures: string[];
  explanations: (Explanation & OfPage)[];
  /** tables of 256 x RGB as base64, by name */
  colours: Record<string, string>;
  colour: string;
  opacity: number;
  /** a map below this share of the first choice's maximum is faint */
  faint_below: number;
}
export type Explained = Explanation<HeatMap, Gradient> & OfPage & Drawn;
