/** Before the path of a setting, in the name of a session variable (F-080). */
export const SET_PREFIX = "set.";
