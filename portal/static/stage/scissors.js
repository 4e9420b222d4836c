/**
 * Cuts a person out of a picture, on a canvas with WebGL. Where the matte is partly transparent, that share of the
 * known background is subtracted from the picture, so that soft edges keep the person's own colour.
 */

const CORNERS = `
  attribute vec2 corner;
  varying vec2 at;
  void main() {
    at = vec2(corner.x, 1.0 - corner.y);
    gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
  }`;
// JPEG compression blurs the matte's 0 and 255 a little, so values up to 4 and from 250 count as 0 and 255, as in
// avatars/mattes.py.
const CUT = `
  precision mediump float;
  varying vec2 at;
  uniform sampler2D picture, matte, background;
  uniform bool whole;
  void main() {
    float share = whole ? 1.0 : clamp((texture2D(matte, at).r * 255.0 - 4.0) / 246.0, 0.0, 1.0);
    vec3 person = texture2D(picture, at).rgb - (1.0 - share) * texture2D(background, at).rgb;
    gl_FragColor = vec4(clamp(person, 0.0, share), share);
  }`;
const TEXTURES = /** @type {const} */ (["picture", "matte", "background"]);

export class Scissors {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGLRenderingContext} gl
   */
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    const program = programOf(gl);
    gl.useProgram(program);
    this.whole = gl.getUniformLocation(program, "whole");
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    TEXTURES.forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
      gl.uniform1i(gl.getUniformLocation(program, name), unit);
    });
  }

  /**
   * Return scissors that draw on a canvas.
   * @param {HTMLCanvasElement} canvas
   * @returns {Scissors?} null: this browser has no WebGL
   */
  static on(canvas) {
    const gl = canvas.getContext("webgl", { antialias: false, depth: false });
    return gl && new Scissors(canvas, gl);
  }

  /**
   * Set one of the images that draw() works with.
   * @param {"picture" | "matte" | "background"} name
   * @param {TexImageSource} image
   */
  set(name, image) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + TEXTURES.indexOf(name));
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
  }

  /**
   * Draw the picture that was set last.
   * @param {number} width of the picture, in px
   * @param {number} height
   * @param {boolean} whole true: draw all of it, with its background
   */
  draw(width, height, whole) {
    const { canvas, gl } = this;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.uniform1i(this.whole, whole ? 1 : 0);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

/** @param {WebGLRenderingContext} gl */
function programOf(gl) {
  const program = gl.createProgram();
  for (const [type, source] of /** @type {const} */ ([
    [gl.VERTEX_SHADER, CORNERS],
    [gl.FRAGMENT_SHADER, CUT],
  ])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(type));
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return program;
}
