// The types of what is drawn.

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
