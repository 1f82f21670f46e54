// @ts-check
/**
 * What anywidget hands to a view, as far as it is used here.
 *
 * @typedef {{get(name: string): any, send(content: any): void, on(name: string, callback: Function): void,
 *   off(name: string, callback: Function): void,
 *   widget_manager?: {kernel?: {status?: string}}}} Model
 */

export {};
